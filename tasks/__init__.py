"""The Redis tier: observe, compare, converge, prove. Data flows in the order of the modules below.

values → catalogue → desired → observe → compare → steps → prove; entry points import from all of them.
"""
