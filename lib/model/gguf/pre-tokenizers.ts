// How byte-level BPE cuts text into words, by the names that GGUF files have for the published rules
// (`tokenizer.ggml.pre`), in the words of tokenizer.json.

type Json = Readonly<Record<string, unknown>>

interface WordRule {
  /** Patterns, each applied to what the one before left; none: GPT-2's own, which tokenizer.json calls ByteLevel. */
  readonly splits: readonly string[]
  readonly isNfc?: boolean // composes characters first
  /** A word of the vocabulary is one token, whatever merges would make of it. */
  readonly ignoresMerges?: boolean
  readonly addsBos?: boolean // unless the file says otherwise
}

const CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
const LETTERS = String.raw`[^\r\n\p{L}\p{N}]?\p{L}+`
const REST = String.raw` ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
const UPPER = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`
const LOWER = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`
const LEAD = String.raw`[^\r\n\p{L}\p{N}]?`
const GPT2 = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)`

const gpt2: WordRule = { splits: [] }
const qwen2: WordRule = { splits: [`${CONTRACTIONS}|${LETTERS}|${String.raw`\p{N}`}|${REST}`], isNfc: true }
const llama3: WordRule = { splits: [`${CONTRACTIONS}|${LETTERS}|${String.raw`\p{N}{1,3}`}|${REST}`] }
const llamaBpe: WordRule = { ...llama3, ignoresMerges: true, addsBos: true }
const digits: WordRule = { splits: [String.raw`\p{N}`, `${GPT2}|\\s+`] }
const o200k: WordRule = {
  ignoresMerges: true,
  splits: [
    [
      `${LEAD}${UPPER}*${LOWER}+${CONTRACTIONS}?`,
      `${LEAD}${UPPER}+${LOWER}*${CONTRACTIONS}?`,
      String.raw`\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
    ].join('|'),
  ],
}
const tekken: WordRule = {
  splits: [
    [
      `${LEAD}${UPPER}*${LOWER}+`,
      `${LEAD}${UPPER}+${LOWER}*`,
      String.raw`\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
    ].join('|'),
  ],
  ignoresMerges: true,
}
const deepseek3: WordRule = {
  splits: [
    String.raw`\p{N}{1,3}`,
    '[一-龥぀-ゟ゠-ヿ]+',
    `[!"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_\`{|}~][A-Za-z]+|` +
      String.raw`[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
  ],
}
/** What llama.cpp takes where a file names no rule. */
const unnamed: WordRule = {
  splits: [String.raw`[\p{P}\$\+<=>\^~\|]+`, GPT2, String.raw`\p{N}+`, '[0-9][0-9][0-9]'],
}

const RULES: Readonly<Record<string, WordRule>> = {
  default: unnamed,
  'gpt-2': gpt2,
  olmo: gpt2,
  qwen2,
  'deepseek-r1-qwen': qwen2,
  'llama-bpe': llamaBpe,
  llama3: llamaBpe,
  'llama-v3': llamaBpe,
  dbrx: llama3,
  'smaug-bpe': llama3,
  'gpt-4o': o200k,
  tekken,
  refact: digits,
  starcoder: digits,
  smollm: digits,
  codeshell: digits,
  'command-r': digits,
  'deepseek-v3': deepseek3,
}

export const WORD_RULES: readonly string[] = Object.keys(RULES)

/** The rule of a name, or undefined for one that is not known. */
export const wordRule = (name: string): WordRule | undefined => (Object.hasOwn(RULES, name) ? RULES[name] : undefined)

/** The name of a rule of one pattern. */
export const nameOfPattern = (pattern: string): string | undefined =>
  ['qwen2', 'llama-bpe', 'gpt-4o'].find((name) => wordRule(name)?.splits[0] === pattern)

/** The rule as tokenizer.json's `pre_tokenizer`. */
export function preTokenizerOf({ splits }: WordRule): Json {
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: splits.length === 0 }
  if (splits.length === 0) return byteLevel
  const cuts = splits.map((pattern) => ({
    type: 'Split',
    pattern: { Regex: pattern },
    behavior: 'Isolated',
    invert: false,
  }))
  return { type: 'Sequence', pretokenizers: [...cuts, byteLevel] }
}
