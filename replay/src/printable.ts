// Words of someone else for a terminal: what would steer it is taken out.

// eslint-disable-next-line no-control-regex -- they are what it is about
const CONTROLS = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]+/g

/** Lines stay lines; any other control character is a space. */
export const printable = (text: string): string => text.replace(CONTROLS, ' ')
