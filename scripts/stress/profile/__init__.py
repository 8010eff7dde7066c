"""What surviving deaths costs while nothing dies: a sampling profile of every process of a loaded
engine."""
