import assert from 'node:assert/strict'
import { createRouterMetrics } from '../../../lib/tracing/metrics.js'

describe('createRouterMetrics', () => {
  const valueOf = (text: string, series: RegExp): number =>
    Number(
      text
        .split('\n')
        .find((line) => series.test(line))
        ?.split(' ')
        .at(-1),
    )

  it('exports the names that load tools and autoscalers look for, with the model', async () => {
    const text = await createRouterMetrics('demo').text()
    const names = [
      'num_requests_running',
      'num_requests_waiting',
      'kv_cache_usage_perc',
      'prompt_tokens_total',
      'generation_tokens_total',
      'spec_decode_num_drafts_total',
      'spec_decode_num_draft_tokens_total',
      'spec_decode_num_accepted_tokens_total',
    ]
    for (const name of names) assert.match(text, new RegExp(`^vllm:${name}{model_name="demo"} 0$`, 'm'))
    for (const name of ['time_to_first_token_seconds', 'inter_token_latency_seconds', 'e2e_request_latency_seconds']) {
      assert.match(text, new RegExp(`^vllm:${name}_bucket{`, 'm'))
    }
    assert.match(text, /^vllm:request_success_total{finished_reason="stop",model_name="demo"} 0$/m)
  })

  it('counts a request from its prompt to its end', async () => {
    const metrics = createRouterMetrics('demo')
    metrics.requestAccepted(5)
    metrics.tokens(1, 250, true)
    metrics.tokens(3, 90, false)
    metrics.requestFinished('length', 340)
    const text = await metrics.text()
    assert.equal(valueOf(text, /^vllm:prompt_tokens_total/), 5)
    assert.equal(valueOf(text, /^vllm:generation_tokens_total/), 4)
    assert.equal(valueOf(text, /^vllm:time_to_first_token_seconds_sum/), 0.25)
    assert.equal(valueOf(text, /^vllm:inter_token_latency_seconds_count/), 3)
    assert.equal(valueOf(text, /^vllm:e2e_request_latency_seconds_sum/), 0.34)
    assert.equal(valueOf(text, /^vllm:request_success_total{finished_reason="length"/), 1)
  })

  it('tells how well step times are predicted, beside the baseline, once there was a prediction', async () => {
    const metrics = createRouterMetrics('demo')
    const error = { median: 0.1, p90: 0.4, count: 7 }
    metrics.stepCost({ error, baseline: { median: NaN, p90: NaN, count: 0 }, terms: { row: 0.25 } })
    const text = await metrics.text()
    const ratio = 'banyan:step_prediction_error_ratio'
    assert.equal(valueOf(text, new RegExp(`^${ratio}{predictor="cost_model",quantile="0.5"`)), 0.1)
    assert.equal(valueOf(text, new RegExp(`^${ratio}{predictor="cost_model",quantile="0.9"`)), 0.4)
    assert.doesNotMatch(text, /predictor="last_similar"/)
    assert.equal(valueOf(text, /^banyan:step_predictions/), 7)
    assert.equal(valueOf(text, /^banyan:step_cost_seconds{term="row"/), 0.00025)
  })

  it('counts a cancelled request as vLLM does', async () => {
    const metrics = createRouterMetrics('demo')
    metrics.requestFinished('cancelled', 1)
    assert.equal(valueOf(await metrics.text(), /^vllm:request_success_total{finished_reason="abort"/), 1)
  })

  it('keeps two routers in one process apart', async () => {
    const one = createRouterMetrics('one')
    const two = createRouterMetrics('two')
    one.requestAccepted(5)
    assert.equal(valueOf(await two.text(), /^vllm:prompt_tokens_total/), 0)
  })
})
