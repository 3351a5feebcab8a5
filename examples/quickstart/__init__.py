"""The smallest project that uses django-executors."""
