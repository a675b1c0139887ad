"""Drawings as SVG, made on the server: no script, no inline style, every colour a class of the style sheet.

Every drawing has a table twin beside it on its page; what a drawing says, the table says in figures.
"""
