"""Evidence at rest: object stores, object layout, segments, catalogue."""
