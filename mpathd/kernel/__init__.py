"""The hands: one module or package for each kernel interface. They import model and know nothing of each other."""
