// The extractor on which the test of dashboard and rules stands.

import assert from 'node:assert/strict'
import { matches, readQuery } from '../../observability/promql.js'

describe('readQuery', () => {
  const metricsOf = (expression: string): string[] => readQuery(expression).selectors.map(({ metric }) => metric)

  it('finds metrics, and no functions, keywords, numbers or labels', () => {
    const cases: readonly (readonly [string, readonly string[]])[] = [
      ['vllm:num_requests_running', ['vllm:num_requests_running']],
      ['sum(rate(a_total[5m])) by (le, job) > bool 0.5', ['a_total']],
      ['sum by (le) (rate(a_bucket[1m])) / ignoring (x) group_left () b', ['a_bucket', 'b']],
      ['histogram_quantile(0.99, sum by (le) (rate(a_bucket{model_name="m"}[5m])))', ['a_bucket']],
      ['a offset 5m and on (instance) b unless c or vector(1e3)', ['a', 'b', 'c']],
      ['max_over_time(a[1h:5m]) - a @ start()', ['a', 'a']],
      ['{__name__="a:b", x="y"}', ['a:b']],
      ['up == 0 # not b', ['up']],
      ['clamp_min(a, 1e-9) ^ 2 * -Inf', ['a']],
      ['topk(5, sum without (instance) (a))', ['a']],
    ]
    for (const [expression, wanted] of cases) assert.deepEqual(metricsOf(expression), wanted, expression)
  })

  it('reads matchers with their operators and quoted values', () => {
    const [selector] = readQuery(`a{x="1", y!="2",z=~"a|b", w!~'c\\'d{}',}`).selectors
    assert.deepEqual(selector?.matchers, [
      { label: 'x', operator: '=', value: '1' },
      { label: 'y', operator: '!=', value: '2' },
      { label: 'z', operator: '=~', value: 'a|b' },
      { label: 'w', operator: '!~', value: "c'd{}" },
    ])
  })

  it('reads the labels that must exist for an expression to tell anything apart', () => {
    const { groupedBy } = readQuery('sum by (a, b) (m) * on (c) group_left (d) n / ignoring (e) sum without (f) (o)')
    assert.deepEqual(groupedBy, ['a', 'b', 'c', 'd'])
  })

  it('refuses what is no PromQL', () => {
    for (const broken of ['a{x=1}', 'a{x="1"', 'sum by (a', '{x="1"}', 'a ? b', '"open']) {
      assert.throws(() => readQuery(broken), Error, broken)
    }
  })
})

describe('matches', () => {
  it('does as Prometheus does: whole values, and a missing label is empty', () => {
    const labels = { x: 'ab', y: '' }
    const cases: readonly (readonly [Parameters<typeof matches>[1][number], boolean])[] = [
      [{ label: 'x', operator: '=', value: 'ab' }, true],
      [{ label: 'x', operator: '=~', value: 'a' }, false],
      [{ label: 'x', operator: '=~', value: 'a.|c' }, true],
      [{ label: 'x', operator: '!~', value: 'a.*' }, false],
      [{ label: 'z', operator: '=', value: '' }, true],
      [{ label: 'z', operator: '!=', value: 'a' }, true],
      [{ label: 'y', operator: '=~', value: '.+' }, false],
    ]
    for (const [matcher, wanted] of cases) assert.equal(matches(labels, [matcher]), wanted, JSON.stringify(matcher))
  })
})
