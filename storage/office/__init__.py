"""What people enter and decide: accounts, premises, alerts, requests. A database that nothing else can make again."""
