"""The rules of an upgrade that plans and checks share: the path of node rolls, add-on versions, images, support dates.

Pure; knows the tables, not how plans or findings are made.
"""
