"""What somebody with bad intentions would try, by the hundred: docs/security.md has the threat model."""
