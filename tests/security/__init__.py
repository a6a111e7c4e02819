"""What somebody with bad intentions would try, by the hundred: docs/explanation/security.md has the threat model."""
