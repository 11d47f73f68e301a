"""The paper's claims as predicates, their verdicts, and known differences."""
