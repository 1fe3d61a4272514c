// What a tokenizer does to text before it is split.

import { expressionOf } from './patterns.js'
import type { Normaliser } from './published.js'

export type Normalise = (text: string) => string

export function normaliserOf(steps: readonly Normaliser[]): Normalise {
  const functions = steps.map(stepOf)
  return (text) => functions.reduce((normalised, apply) => apply(normalised), text)
}

function stepOf(step: Normaliser): Normalise {
  switch (step.type) {
    case 'NFC':
    case 'NFD':
    case 'NFKC':
    case 'NFKD':
      return (text) => text.normalize(step.type)
    case 'Lowercase': // character by character: without the rule for a final sigma
      return (text) => Array.from(text, (character) => character.toLowerCase()).join('')
    case 'StripAccents':
      return (text) => text.replace(/\p{M}/gu, '')
    case 'Prepend':
      return (text) => (text === '' ? '' : step.prepend + text)
    case 'Replace': {
      const { text: found } = step.pattern
      if (found !== undefined && found !== '') return (text) => text.split(found).join(step.content)
      const expression = expressionOf(step.pattern)
      return (text) => text.replace(expression, () => step.content)
    }
    case 'Strip':
      return (text) => {
        const left = step.strip_left ? text.replace(/^\p{White_Space}+/u, '') : text
        return step.strip_right ? trimEnd(left) : left
      }
  }
}

/** From the end: a pattern would look at every run of spaces. */
function trimEnd(text: string): string {
  let end = text.length
  while (end > 0 && /\p{White_Space}/u.test(text[end - 1] ?? '')) end--
  return text.slice(0, end)
}
