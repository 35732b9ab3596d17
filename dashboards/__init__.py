"""What people and Prometheus see: the fleet as it is now, the JSON API, live pictures, metrics and the page."""
