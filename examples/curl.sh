#!/bin/sh
# Streams a completion from `npm start`.
curl -N "${BANYAN_URL:-http://127.0.0.1:8000}/v1/completions" -H 'content-type: application/json' \
  -H "authorization: Bearer ${BANYAN_API_KEY:-unused}" \
  -d '{"model": "demo", "prompt": "export interface ", "max_tokens": 64, "seed": 7, "stream": true}'

# The same over gRPC; reflection tells grpcurl the messages:
#   grpcurl -plaintext 127.0.0.1:50051 list
#   grpcurl -plaintext 127.0.0.1:50051 describe banyan.v1.GenerateRequest
#   grpcurl -plaintext -d '{"text": "export interface ", "sampling": {"max_tokens": 64, "seed": "7"}}' \
#     127.0.0.1:50051 banyan.v1.InferenceService/Generate
#   grpcurl -plaintext 127.0.0.1:50051 grpc.health.v1.Health/Check
