use super::*;

#[test]
fn axons_without_a_usable_address_are_none() {
    let axon = |ip, port, ip_type| AxonInfo { ip, port, ip_type }.address();
    assert_eq!(axon(0x0a00_0001, 8091, 4), Some("10.0.0.1:8091".parse().unwrap()));
    assert_eq!(axon(1, 8091, 6), Some("[::1]:8091".parse().unwrap()));
    assert_eq!(axon(0, 8091, 4), None);
    assert_eq!(axon(0x0a00_0001, 0, 4), None);
    assert_eq!(axon(0x0a00_0001, 8091, 5), None);
    assert_eq!(axon(u128::MAX, 8091, 4), None);
}
