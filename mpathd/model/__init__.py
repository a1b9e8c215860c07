"""Values: frozen dataclasses, enums, numbers and errors. Imports nothing else of mpathd."""
