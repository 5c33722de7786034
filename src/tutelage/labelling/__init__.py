"""Labels texts with a teacher: scoring for classes, verification or extraction for entities."""
