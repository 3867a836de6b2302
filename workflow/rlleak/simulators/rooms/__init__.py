"""The project's own rooms: 120 furnished layouts rendered by MuJoCo, numbered as in AI2-THOR.

`world.RoomWorld` is a layout that can be walked through and rendered; `gallery` shows and measures them all.
"""
