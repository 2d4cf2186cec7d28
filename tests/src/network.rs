//! Network namespaces: nodes with addresses of their own, and links between them that can be cut.
//!
//! One bridge, one namespace per node. Needs the `ip` command and root, as containers do.

use std::net::Ipv4Addr;

use anyhow::{ensure, Context as _};
use tokio::process::Command;

/// A bridge with a namespace per node; removed when dropped.
#[derive(Debug)]
pub struct Network {
    bridge: String,
    subnet: u8,
    nodes: u8,
}

impl Network {
    /// Makes a bridge with `nodes` namespaces behind it, at most 200.
    ///
    /// # Errors
    ///
    /// If the system refuses: no `ip` command, no right to use it, or no subnet is free.
    pub async fn new(nodes: u8) -> anyhow::Result<Self> {
        ensure!(nodes <= 200, "at most 200 nodes");
        // Two test processes at a time must not share a subnet: the first free one is taken.
        for subnet in 0..=u8::MAX {
            let bridge = format!("assay{subnet}");
            if ip(&["link", "add", &bridge, "type", "bridge"]).await.is_ok() {
                let network = Self { bridge, subnet, nodes };
                network.build().await?;
                return Ok(network);
            }
        }
        anyhow::bail!("no bridge could be made; is `ip` there, and is this root?")
    }

    async fn build(&self) -> anyhow::Result<()> {
        let address = format!("{}/24", self.host());
        ip(&["addr", "add", &address, "dev", &self.bridge]).await?;
        ip(&["link", "set", &self.bridge, "up"]).await?;
        for node in 0..self.nodes {
            let (space, link) = (self.namespace(node), self.link(node));
            ip(&["netns", "add", &space]).await?;
            let inner = ["type", "veth", "peer", "name", "eth0", "netns", &space];
            ip(&[&["link", "add", &link], inner.as_slice()].concat()).await?;
            ip(&["link", "set", &link, "master", &self.bridge, "up"]).await?;
            let address = format!("{}/24", self.address(node));
            ip(&["-n", &space, "addr", "add", &address, "dev", "eth0"]).await?;
            ip(&["-n", &space, "link", "set", "eth0", "up"]).await?;
            ip(&["-n", &space, "link", "set", "lo", "up"]).await?;
        }
        Ok(())
    }

    /// The host's own address, reachable from every node.
    #[must_use]
    pub fn host(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.subnet, 1)
    }

    /// The address of a node.
    #[must_use]
    pub fn address(&self, node: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.subnet, node.saturating_add(10))
    }

    /// The namespace of a node, for `ip netns exec`.
    #[must_use]
    pub fn namespace(&self, node: u8) -> String {
        format!("{}-{node}", self.bridge)
    }

    fn link(&self, node: u8) -> String {
        format!("{}v{node}", self.bridge)
    }

    /// Cuts the link between two nodes: neither reaches the other, both reach everybody else.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub async fn cut(&self, one: u8, other: u8) -> anyhow::Result<()> {
        self.routes("add", one, other).await
    }

    /// Mends a link that was cut.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub async fn mend(&self, one: u8, other: u8) -> anyhow::Result<()> {
        self.routes("del", one, other).await
    }

    async fn routes(&self, what: &str, one: u8, other: u8) -> anyhow::Result<()> {
        for (from, to) in [(one, other), (other, one)] {
            let target = format!("{}/32", self.address(to));
            ip(&["-n", &self.namespace(from), "route", what, "blackhole", &target]).await?;
        }
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let remove = |arguments: &[&str]| {
            // What was never made cannot be removed.
            drop(std::process::Command::new("ip").args(arguments).output());
        };
        for node in 0..self.nodes {
            remove(&["netns", "del", &self.namespace(node)]);
        }
        remove(&["link", "del", &self.bridge]);
    }
}

async fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("ip").args(arguments).output().await.context("running `ip`")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {}: {}", arguments.join(" "), error.trim());
    Ok(())
}
