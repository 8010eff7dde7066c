"""Any language model of transformers over our paged attention: taken apart, run step by step, and
checked against itself."""
