"""The digital twin: clock, world, controllers, cloud. Must not know HTTP, nor the conductor."""
