#!/bin/sh
# Streams a completion from `npm start`.
curl -N "${BANYAN_URL:-http://127.0.0.1:8000}/v1/completions" -H 'content-type: application/json' \
  -d '{"model": "demo", "prompt": "export interface ", "max_tokens": 64, "seed": 7, "stream": true}'
