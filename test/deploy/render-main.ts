// `npm run deploy:render`: renders every overlay anew into `test/deploy/rendered`.

import { writeGoldens } from './render.js'

console.log(`rendered: ${writeGoldens().join(', ')}`)
