"""The go-live page: facts (read), judgement (pure), drawing and charts (geometry), page (written)."""
