"""Messages out of the outbox to people: by webhook, and by whatever Apprise reaches."""
