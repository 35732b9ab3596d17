"""Fragmented MP4 (ISO/IEC 14496-12) written from access units: pure, byte for byte a function of its input."""
