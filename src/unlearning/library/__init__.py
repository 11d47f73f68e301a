"""The library's functions for a user's own model and data; `unlearning.NAME` is `public.NAME`."""
