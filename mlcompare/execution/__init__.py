"""Where trainings run: in this process, in worker processes, or on a Ray cluster. Results don't depend on it."""
