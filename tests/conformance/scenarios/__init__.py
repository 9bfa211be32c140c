"""What is promised of dying objects, and what each interpreter was seen to do."""
