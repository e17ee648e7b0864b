"""The progress of programs, shown while they run: one display per process.

Rules
-----
- A meter is a thing that goes on. Its owner sets how much of it is done, or gives a function that
  knows; neither costs more than an assignment.
- One thread draws all meters, and only while there are any. No lock is held while it draws.
- A surface is where they are drawn: a terminal, a notebook, or lines in a log.
- A failure to draw ends the drawing. The program never hears of it; the log does.
"""
