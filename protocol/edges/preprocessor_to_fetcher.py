"""preprocessor -> fetcher: downloaded bytes are not needed any more."""

from .shared import MediaRead

PreprocessorToFetcher = MediaRead
