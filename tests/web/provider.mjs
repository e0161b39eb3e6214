// A certified OpenID provider, at which Ada is signed in by whoever asks.
import Provider from "oidc-provider";

const { issuer, port, client } = JSON.parse(process.argv[2]);
const provider = new Provider(issuer, {
  clients: [client],
  acrValues: ["gold"],
  claims: { openid: ["sub"], email: ["email", "email_verified"], acr: null, auth_time: null, sid: null },
  conformIdTokenClaims: false,
  // Its own guard against private addresses would keep it from this machine's govern.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  cookies: { keys: ["of a test"] },
  features: { devInteractions: { enabled: false }, backchannelLogout: { enabled: true } },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: "ada@people.example", email_verified: true }),
  }),
  loadExistingGrant: async (ctx) => {
    const grant = new ctx.oidc.provider.Grant({
      clientId: ctx.oidc.client.clientId,
      accountId: ctx.oidc.session.accountId,
    });
    grant.addOIDCScope("openid email");
    await grant.save();
    return grant;
  },
});
provider.use(async (ctx, next) => {
  if (!ctx.path.startsWith("/interaction/")) return next();
  const login = { accountId: "ada-at-home", acr: "gold", amr: ["pwd", "otp", "mfa"] };
  await provider.interactionFinished(ctx.req, ctx.res, { login });
  ctx.respond = false;
});
provider.on("backchannel.error", (_, error) => console.error(error));
provider.listen(port, "127.0.0.1");
