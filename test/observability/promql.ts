// What a PromQL expression reads: its series with their matchers, and the labels that it groups by. Not a parser: it knows
// tokens, and which names are functions, keywords or labels.

export interface Matcher {
  readonly label: string
  readonly operator: '=' | '!=' | '=~' | '!~'
  readonly value: string
}

export interface Selector {
  readonly metric: string
  readonly matchers: readonly Matcher[]
}

export interface Query {
  readonly selectors: readonly Selector[]
  readonly groupedBy: readonly string[] // labels in by, on and group_left: what is told apart by them must have them
}

const TOKEN =
  /\s+|#.*|(?<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)|(?<range>\[[^\]]*\])|(?<number>\d[\w.]*(?:e[+-]?\d+)?)|(?<name>[a-zA-Z_:][\w:]*)|(?<sign>=~|!~|!=|==|>=|<=|[-+*/%^=<>(){},@.])/gy
const OPERATORS = new Set(['and', 'or', 'unless', 'bool', 'offset', 'atan2', 'inf', 'nan'])
const CLAUSES = new Set(['by', 'without', 'on', 'ignoring', 'group_left', 'group_right'])
const NAMING = new Set(['by', 'on', 'group_left', 'group_right']) // clauses whose labels must exist

interface Token {
  readonly kind: 'text' | 'number' | 'name' | 'sign'
  readonly text: string
}

/** Throws where a character is none of PromQL's, or a clause or selector does not end. */
export function readQuery(expression: string): Query {
  const tokens = tokenize(expression)
  const selectors: Selector[] = []
  const groupedBy: string[] = []
  for (let at = 0; at < tokens.length;) {
    const { kind, text } = tokens[at]!
    const next = tokens[at + 1]?.text
    if (text === '{') {
      const list = readMatchers(tokens, at)
      const named = list.matchers.find(({ label, operator }) => label === '__name__' && operator === '=')
      if (named === undefined) throw new Error(`want a metric before { in ${expression}`)
      selectors.push({ metric: named.value, matchers: list.matchers.filter((matcher) => matcher !== named) })
      at = list.end
    } else if (kind !== 'name' || OPERATORS.has(text.toLowerCase())) at += 1
    else if (CLAUSES.has(text)) {
      if (next !== '(') at += 1
      else {
        const end = tokens.findIndex((token, i) => i > at && token.text === ')')
        if (end < 0) throw new Error(`want ) after ${text} in ${expression}`)
        const labels = tokens.slice(at + 2, end).flatMap((token) => (token.kind === 'name' ? [token.text] : []))
        if (NAMING.has(text)) groupedBy.push(...labels)
        at = end + 1
      }
    } else if (next === '(')
      at += 1 // a function
    else if (next !== undefined && CLAUSES.has(next))
      at += 1 // an aggregation with its clause first
    else if (next === '{') {
      const { matchers, end } = readMatchers(tokens, at + 1)
      selectors.push({ metric: text, matchers })
      at = end
    } else {
      selectors.push({ metric: text, matchers: [] })
      at += 1
    }
  }
  return { selectors, groupedBy: [...new Set(groupedBy)] }
}

function tokenize(expression: string): Token[] {
  const tokens: Token[] = []
  TOKEN.lastIndex = 0
  while (TOKEN.lastIndex < expression.length) {
    const from = TOKEN.lastIndex
    const match = TOKEN.exec(expression)
    if (match === null) throw new Error(`no PromQL at ${JSON.stringify(expression.slice(from, from + 20))}`)
    const { text, number, name, sign } = match.groups ?? {}
    if (text !== undefined) tokens.push({ kind: 'text', text })
    else if (number !== undefined) tokens.push({ kind: 'number', text: number })
    else if (name !== undefined) tokens.push({ kind: 'name', text: name })
    else if (sign !== undefined) tokens.push({ kind: 'sign', text: sign })
  }
  return tokens
}

/** From the brace at `at`; `end` is the place after the closing one. */
function readMatchers(tokens: readonly Token[], at: number): { matchers: Matcher[]; end: number } {
  const matchers: Matcher[] = []
  for (let i = at + 1; i < tokens.length; i++) {
    const [label, operator, value] = [tokens[i], tokens[i + 1]?.text, tokens[i + 2]]
    if (label?.text === '}') return { matchers, end: i + 1 }
    if (label?.text === ',') continue
    const isMatch = operator === '=' || operator === '!=' || operator === '=~' || operator === '!~'
    if (label?.kind !== 'name' || !isMatch || value?.kind !== 'text') break
    matchers.push({ label: label.text, operator, value: value.text.slice(1, -1).replace(/\\(.)/g, '$1') })
    i += 2
  }
  throw new Error(
    `want label="value" and a closing brace, found ${tokens
      .slice(at)
      .map(({ text }) => text)
      .join(' ')}`,
  )
}

/** Whether a series passes the matchers; a label that it has not is empty, as in Prometheus. */
export function matches(labels: Readonly<Record<string, string>>, matchers: readonly Matcher[]): boolean {
  return matchers.every(({ label, operator, value }) => {
    const found = labels[label] ?? ''
    const isEqual = operator.endsWith('~') ? new RegExp(`^(?:${value})$`).test(found) : found === value
    return operator.startsWith('!') ? !isEqual : isEqual
  })
}
