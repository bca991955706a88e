"""The controllers of a Kubernetes cluster in the twin, informer style: told of changes by the world, they queue work.

They know the world, the clock and the settings; they must not know the cloud, HTTP or how an upgrade is conducted.
"""
