"""The front door for notebooks: people, scores and comparisons as objects that show themselves.

The names stand in ``centaurlab`` itself: ``import centaurlab as cl``. Everything is done by the code behind the
commands; what these print, objects here show.
"""
