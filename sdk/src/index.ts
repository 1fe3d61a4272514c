// @banyan/client: the client SDK of a Banyan cluster.

export { BanyanClient, type ClientOptions } from './client.js'
export { BanyanError, CODES, type Code } from './errors.js'
export type * from './types.js'
