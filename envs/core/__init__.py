"""What every environment shares: core types, the text-agent contract, seeding and checks."""
