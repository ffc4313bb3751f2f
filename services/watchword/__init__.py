"""Watchword: a phone-verification and two-factor component for a gRPC service mesh."""
