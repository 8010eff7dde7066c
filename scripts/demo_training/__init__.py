"""Everything that makes and checks the bundled demo model: drawing, synthesis, tokenizer, training,
evaluation."""
