// An OpenID provider: node provider.mjs FOLDER <settings.json, where FOLDER is what `install` prints.
//
// Settings: port, key and certificate (PEM), clientSecret, redirectUri, accounts (a file), keyType (RSA or EC), claimsInToken.
// The file of accounts has claims by subject, and is read whenever somebody signs in. Whom the request names as `login_hint`
// is signed in without being asked. Each start makes new keys.
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const { Provider } = await import(pathToFileURL(createRequire(`${process.argv[2]}/`).resolve('oidc-provider')));
// Whoever starts this reads `ready` from the standard output, and nothing after it: remarks on defaults would find nobody there.
console.info = console.error;
const settings = JSON.parse(readFileSync(0, 'utf8'));
const { privateKey } =
  settings.keyType === 'EC'
    ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
    : generateKeyPairSync('rsa', { modulusLength: 2048 });

const provider = new Provider(`https://127.0.0.1:${settings.port}`, {
  clients: [
    {
      client_id: 'checkstack',
      client_secret: settings.clientSecret,
      redirect_uris: [settings.redirectUri],
      id_token_signed_response_alg: settings.keyType === 'EC' ? 'ES256' : 'RS256',
    },
  ],
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig' }] },
  enabledJWA: { idTokenSigningAlgValues: ['RS256', 'ES256'] },
  cookies: { keys: [randomUUID()] },
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'], groups: ['groups'] },
  conformIdTokenClaims: !settings.claimsInToken,
  features: { devInteractions: { enabled: false } },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  findAccount(_, id) {
    const claims = JSON.parse(readFileSync(settings.accounts, 'utf8'))[id];
    return claims && { accountId: id, claims: async () => ({ sub: id, ...claims }) };
  },
  // Nobody is asked what they consent to.
  async loadExistingGrant(ctx) {
    const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
    grant.addOIDCScope('openid email profile groups');
    await grant.save();
    return grant;
  },
});
provider.use(async (ctx, next) => {
  if (!ctx.path.startsWith('/interaction/')) return next();
  const { params } = await provider.interactionDetails(ctx.req, ctx.res);
  const login = params.login_hint ? { login: { accountId: params.login_hint } } : { error: 'access_denied' };
  return provider.interactionFinished(ctx.req, ctx.res, login);
});

const server = createServer({ key: settings.key, cert: settings.certificate }, provider.callback());
server.listen(settings.port, '127.0.0.1', () => console.log('ready'));
