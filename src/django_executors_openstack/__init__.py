"""OpenStack for django-executors: rows that mirror servers, volumes, ports and floating IPs, and what changes them."""
