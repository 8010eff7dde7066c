"""From scores to tokens: penalties, constraints, grammars, draws, guesses and log-probabilities."""
