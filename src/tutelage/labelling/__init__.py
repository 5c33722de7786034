"""How a teacher labels texts: scoring for classes, verification and extraction for entities."""
