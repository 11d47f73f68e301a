"""What a config may say: experiments, scenarios, methods' settings, searches."""
