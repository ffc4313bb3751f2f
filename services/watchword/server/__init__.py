"""Where objects meet: building, serving and stopping the process."""
