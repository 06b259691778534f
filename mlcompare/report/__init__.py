"""From a store to what a person reads."""
