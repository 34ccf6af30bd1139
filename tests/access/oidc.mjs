// An OpenID Connect provider on loopback, for the tests of `[jwt]`.
//
//   node oidc.mjs
//
// Prints its port. A client gets an access token by its credentials; the resource that it asks for says how the token is
// signed, for whom it is and for how long: urn:ALG:AUDIENCE:SECONDS. The scope becomes the claim "roles".

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const key = (alg, type, options) => {
  const { privateKey } = generateKeyPairSync(type, options);
  return { ...privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: `key-${alg}` };
};
const jwks = { keys: [
  key('RS256', 'rsa', { modulusLength: 2048 }),
  key('ES256', 'ec', { namedCurve: 'P-256' }),
  key('EdDSA', 'ed25519', {}),
] };

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address();
  const provider = new Provider(`http://127.0.0.1:${port}`, {
    jwks,
    clients: [{ client_id: 'player', client_secret: 'secret', grant_types: ['client_credentials'], redirect_uris: [], response_types: [] }],
    clientAuthMethods: ['client_secret_basic'],
    scopes: ['watch', 'view', 'operate'],
    enabledJWA: { idTokenSigningAlgValues: ['RS256', 'ES256', 'EdDSA'] },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'urn:RS256:tidecast:60',
        getResourceServerInfo: (_, resource) => {
          const [, alg, audience, seconds] = resource.split(':');
          return { scope: 'watch view operate', audience, accessTokenFormat: 'jwt', accessTokenTTL: Number(seconds), jwt: { sign: { alg } } };
        },
      },
    },
    extraTokenClaims: (_, token) => ({ roles: token.scope?.split(' ') ?? [] }),
  });
  server.on('request', provider.callback());
  console.log(port);
});
