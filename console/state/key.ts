// What may be an API key: it goes out as a header, which holds visible characters of Latin-1 only.

const KEY = /^[\x21-\x7e\xa0-\xff]+$/

/** What is wrong with a key, in words for its field; empty where nothing is. */
export const keyProblem = (key: string): string =>
  KEY.test(key) ? '' : 'An API key has letters, digits and signs of Latin-1 only, and no blanks.'
