"""Phone verification: the main job."""
